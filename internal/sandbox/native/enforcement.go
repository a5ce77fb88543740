package native

import (
	"fmt"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/sandbox"
)

// inForce says what holds for this desk: what its PID 1 reported when the
// walls were built, and how limits are held. The network of a desk whose
// sockets were handed out is for their owner to report.
func (d *Desk) inForce() []carrel.Enforcement {
	out := []carrel.Enforcement{
		enforced(carrel.ControlFiles, "a root of its own in a mount namespace; what is shown read-only is mounted so"),
		d.stagingInForce(),
		enforced(carrel.ControlProcesses, "pid and ipc namespaces; PID 1, started from "+d.imageFrom+", cannot be dumped or traced"),
		enforced(carrel.ControlPrivilege, fmt.Sprintf("host user %d, no capability, no_new_privs", d.id.Outside)),
		enforced(carrel.ControlSyscalls, "seccomp table"),
		landlockLevel(d.landlock),
		enforced(carrel.ControlStreams, "pipes or a terminal of the desk's own, relayed"),
		enforced(carrel.ControlLifetime, "the pid namespace ends with the run or the supervisor"),
		d.memoryInForce(),
		enforced(carrel.ControlPids, fmt.Sprintf("at most %d, counted by the kernel per user namespace", pids(&d.spec.Limits))),
		d.diskInForce(),
		d.execInForce(),
	}
	if d.spec.Attach == nil {
		out = append(out, enforced(carrel.ControlNetwork, "a network namespace with only a loopback"),
			enforced(carrel.ControlNames, "there is no resolver"))
	}
	return out
}

func enforced(c carrel.Control, how string) carrel.Enforcement {
	return carrel.Enforcement{Control: c, Level: carrel.Enforced, How: how}
}

func (d *Desk) stagingInForce() carrel.Enforcement {
	for i := range d.spec.Mounts {
		if d.spec.Mounts[i].Kind != sandbox.MountOverlay {
			continue
		}
		how := "overlayfs in the user namespace"
		if d.id.Borrowed {
			how = "overlayfs over an idmapped view of the tree"
		}
		if d.cutOff {
			how += "; the last run at this desk was cut off: if the machine went down too, its last writes may be missing"
		}
		return enforced(carrel.ControlStaging, how)
	}
	return enforced(carrel.ControlStaging, "the desk is given copies")
}

// landlockLevel says what the version in force restricts.
func landlockLevel(version int) carrel.Enforcement {
	e := carrel.Enforcement{Control: carrel.ControlLandlock, Level: carrel.Enforced, How: fmt.Sprintf("Landlock, version %d", version)}
	switch {
	case version == 0:
		e.Level, e.How = carrel.NotEnforced, "the kernel has no Landlock, or it is switched off"
		e.Fix = "boot with Landlock among the security modules (lsm=landlock,...), or use Linux 5.15 or later with it built in"
	case version < 6:
		e.Level = carrel.Partly
		e.How += ": it lacks the scopes for signals and abstract sockets (6) or truncation (3); namespaces and mounts cover both"
		if version == 1 {
			e.How += "; links between directories fail with EXDEV, and renames copy"
		}
		e.Fix = "use Linux 6.12 or later"
	}
	return e
}

func (d *Desk) memoryInForce() carrel.Enforcement {
	e := carrel.Enforcement{Control: carrel.ControlMemory, Level: carrel.NotEnforced, How: "no limit was asked for", Fix: "--limit memory=SIZE"}
	switch {
	case d.spec.Limits.Memory == 0:
	case d.watch != nil && d.watch.group != nil:
		return enforced(carrel.ControlMemory, "cgroup "+d.watch.group.version())
	default:
		e.Level, e.How = carrel.Partly, "watched, the more often the less is left; files on their way through a socket, and shared memory mapped and not touched, are not seen: "+d.memoryNote
		e.Fix = "run Carrel as root, in a session whose cgroup is delegated to the user, or where the user's own systemd runs (cgroups of version 2)"
	}
	return e
}

// execInForce says what deciding about commands is worth. Whatever a command
// turns out to be, the other walls hold it.
func (d *Desk) execInForce() carrel.Enforcement {
	if d.unasked != "" {
		return carrel.Enforcement{Control: carrel.ControlExec, Level: carrel.NotEnforced, How: "commands inside are neither recorded nor decided: " + d.unasked,
			Fix: "run Carrel outside of what listens for its system calls, such as a container with system call interception"}
	}
	if d.executions == nil {
		return carrel.Enforcement{Control: carrel.ControlExec, Level: carrel.NotEnforced, How: "commands inside are neither recorded nor decided"}
	}
	return carrel.Enforcement{Control: carrel.ControlExec, Level: carrel.Partly,
		How: "every execve waits for an answer (seccomp notification); a program with several threads can show one command and run another"}
}

func (d *Desk) diskInForce() carrel.Enforcement {
	e := carrel.Enforcement{Control: carrel.ControlDisk, Level: carrel.Partly, How: "free space is guarded, once a second",
		Fix: "put Carrel's state on a file system of its own to bound it exactly"}
	switch {
	case len(d.spec.DiskPaths) == 0:
		e.Level, e.How = carrel.NotEnforced, "nothing says where the run writes"
	case d.spec.Limits.Disk > 0:
		e.How = "what the run adds, and free space, are watched"
	}
	return e
}
