package sandboxtest

import (
	"os"
	"testing"

	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/sandboxtest/kernel"
)

const probePath = "/probe"

// cases is the suite. A case named for an attack holds its positive twin.
// Those marked as walls are run again on kernels that lack something.
var cases = []struct {
	name string
	run  func(*bed)
	wall bool
}{
	{"ContractOfTheGate", contract, false},
	{"ExitCodesPassThrough", exitCodes, false},
	{"RaisedWallsWaitForTheDecision", raised, false},
	{"RaisedWallsAreForOneProgram", raisedForAnother, false},
	{"ProgramNotFoundIs127", notFound, false},
	{"ProgramNotExecutableIs126", notExecutable, false},
	{"TimersAreAsUsual", usualTimers, false},
	{"SignalsAreForwarded", signals, false},
	{"GraceEndsEverything", grace, false},
	{"BackgroundProcessesEndWithTheRun", background, false},
	{"StandardInputArrives", standardInput, false},
	{"StandardInputIsNotReadAhead", inputEnds, false},
	{"ClosedOutputIsSeenInside", closedOutput, false},
	{"DirectoryAsStandardStream", directoryStream, false},

	{"OverlayKeepsTheTreeUntouched", overlay, true},
	{"OverlayOfOddNames", oddNames, false},
	{"OneTreeAtTwoPaths", sameTwice, false},
	{"AnOptionalCoverIsNotLeftOutForALoop", coverLoop, false},
	{"MountsCoverFiles", coverFiles, true},
	{"MountPointsAreNotMadeOnTheHost", noHostMountPoints, false},
	{"MissingSourceIsNamed", missingSource, false},
	{"Attacks", attacks, true},
	{"DeviceFilesAbsent", devices, true},
	{"CoreDumpsStayInside", coreDumps, false},
	{"SetuidIsInert", setuid, true},
	{"RenameOutOfReadOnly", renames, true},
	{"HostFileAsStdoutReopened", reopenStdout, true},
	{"RootAndDevAreClosed", closedRoot, true},

	{"SignalsOut", signalsOut, true},
	{"PrivilegeHelpers", privilegeHelpers, true},
	{"NestedSandboxes", nestedSandboxes, false},
	{"TheProductInsideItself", insideItself, false},
	{"DebuggersWork", debuggers, false},

	{"SocketsAreHandedOut", handedSockets, false},
	{"AttachFailureStopsTheStart", attachFails, false},

	{"TerminalOfItsOwn", terminal, false},
	{"StopAndContinue", stopAndContinue, false},
	{"TerminalGoesAway", hangUp, false},
	{"StoppedProgramsCanBeEnded", endStopped, false},

	{"MemoryLimit", memoryLimit, false},
	{"ProcessLimit", processLimit, false},
	{"DiskLimit", diskLimit, false},
	{"WallLimit", wallLimit, false},
	{"TmpfsIsBounded", tmpfsBounded, false},

	{"EnforcementIsReported", enforcement, true},
	{"ProbeIsTrue", probeIsTrue, false},
	{"SupervisorKilled", supervisorKilled, false},
	{"ExecutionsAreSeen", executionsAreSeen, false},
	{"ExecutionsAreRefused", executionsAreRefused, false},
	{"ProgramsWithoutAPath", programsWithoutAPath, false},
	{"ManyRunsLeaveNothing", manyRuns, false},
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
	case kernel.ContainerVerb:
		return kernel.Container(os.Args[2:]), true
	case "supervise":
		return supervise(tier(), os.Args[2]), true
	}
	return 0, false
}
