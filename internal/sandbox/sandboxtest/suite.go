package sandboxtest

import (
	"os"
	"testing"

	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/sandboxtest/kernel"
)

const probePath = "/probe"

// cases is the suite. A case named for an attack holds its positive twin.
var cases = []struct {
	name string
	run  func(*bed)
}{
	{"ContractOfTheGate", contract},
	{"ExitCodesPassThrough", exitCodes},
	{"ProgramNotFoundIs127", notFound},
	{"ProgramNotExecutableIs126", notExecutable},
	{"SignalsAreForwarded", signals},
	{"GraceEndsEverything", grace},
	{"BackgroundProcessesEndWithTheRun", background},
	{"StandardInputArrives", standardInput},
	{"StandardInputIsNotReadAhead", inputEnds},
	{"ClosedOutputIsSeenInside", closedOutput},
	{"DirectoryAsStandardStream", directoryStream},

	{"OverlayKeepsTheTreeUntouched", overlay},
	{"OverlayOfOddNames", oddNames},
	{"OneTreeAtTwoPaths", sameTwice},
	{"AnOptionalCoverIsNotLeftOutForALoop", coverLoop},
	{"MountsCoverFiles", coverFiles},
	{"MountPointsAreNotMadeOnTheHost", noHostMountPoints},
	{"MissingSourceIsNamed", missingSource},
	{"ProcRootLeadsNowhere", procRoot},
	{"InheritedDescriptors", inheritedDescriptors},
	{"DeviceFilesAbsent", devices},
	{"DeviceNodesCannotBeMade", deviceNodes},
	{"CoreDumpsStayInside", coreDumps},
	{"SetuidIsInert", setuid},
	{"TruncateOfReadOnlyFiles", truncate},
	{"RenameOutOfReadOnly", renames},
	{"HostFileAsStdoutReopened", reopenStdout},
	{"HostRootStaysOut", hostRoot},
	{"KernelSettings", kernelSettings},
	{"HostIsNotWatched", hostNotWatched},
	{"RootAndDevAreClosed", closedRoot},

	{"ForbiddenCalls", forbiddenCalls},
	{"ForeignCallABIs", foreignABIs},
	{"ReachingPID1", reachingPID1},
	{"SignalsOut", signalsOut},
	{"MemfdExec", memfdExec},
	{"AbstractSockets", abstractSockets},
	{"NoCapabilities", capabilities},
	{"PrivilegeHelpers", privilegeHelpers},
	{"NestedSandboxes", nestedSandboxes},
	{"TheProductInsideItself", insideItself},
	{"DebuggersWork", debuggers},

	{"NetworkIsLoopbackOnly", loopbackOnly},
	{"SocketsAreHandedOut", handedSockets},
	{"AttachFailureStopsTheStart", attachFails},

	{"TerminalOfItsOwn", terminal},
	{"StopAndContinue", stopAndContinue},
	{"TerminalGoesAway", hangUp},
	{"StoppedProgramsCanBeEnded", endStopped},

	{"MemoryLimit", memoryLimit},
	{"ProcessLimit", processLimit},
	{"DiskLimit", diskLimit},
	{"WallLimit", wallLimit},
	{"TmpfsIsBounded", tmpfsBounded},

	{"EnforcementIsReported", enforcement},
	{"ProbeIsTrue", probeIsTrue},
	{"SupervisorKilled", supervisorKilled},
	{"ManyRunsLeaveNothing", manyRuns},
}

// Run runs the suite on a tier, as the user that the test runs as.
func Run(t *testing.T, tier sandbox.Tier) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(&bed{t, tier, t.TempDir()}) })
	}
}

// Main carries out what a test binary was started again for: a probe inside a
// desk, or a supervisor to be killed. It returns false if there is nothing of
// that kind to do.
func Main(tier func() sandbox.Tier) (code int, done bool) {
	if len(os.Args) < 3 {
		return 0, false
	}
	switch os.Args[1] {
	case "probe":
		if os.Args[2] == "tier" {
			return probeTier(tier()), true
		}
		return probe(os.Args[2], os.Args[3:]), true
	case kernel.Verb:
		return kernel.Main(os.Args[2:]), true
	case "supervise":
		return supervise(tier(), os.Args[2]), true
	}
	return 0, false
}
