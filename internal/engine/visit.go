//go:build linux

package engine

import (
	"crypto/x509"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/credential"
	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/git"
	"github.com/carrel-dev/carrel/internal/hook"
	"github.com/carrel-dev/carrel/internal/ingress"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/profile"
	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/native"
	"github.com/carrel-dev/carrel/internal/sandbox/view"
	"github.com/carrel-dev/carrel/internal/workspace"
)

// visit is one run while it is prepared and under way. Its fields are filled
// in the order of prepare; afterwards only denials change.
type visit struct {
	e    *Engine
	opts RunOptions
	id   carrel.RunID

	ws       *workspace.Workspace
	repo     *git.Repo // nil outside git
	settings *settings
	profile  profile.Profile
	// ecosystems are what package managers need beside the agent.
	ecosystems []profile.Profile
	model      *modelDoor // nil: no model endpoint
	lent       lending
	leases     *credential.Leases // from run on
	ports      []ingress.Port     // of --expose
	front      *ingress.Front     // from run on
	limits     sandbox.Limits
	upload     int64          // bytes that may be sent to the network; 0: no bound
	roots      *x509.CertPool // nil: the system's
	rules      *egress.Rules
	authority  *egress.Authority // nil: nothing is inspected
	grants     egress.Grants
	policy     *policy.Engine
	extra      []policy.Layer // of --policy, and the repository's
	inForce    policy.Live    // policy, or what it was edited to since
	seat       *workspace.Seat
	cache      *workspace.Cache // nil in a dry run
	identity   config.Identity
	// foundation is the part of the plan that the host alone decides.
	foundation   func() *view.Foundation
	plan         view.Plan
	tier         *native.Tier
	who          native.Identity
	log          *audit.Log
	runDir       string
	screen       *screen   // nil: nothing of the desk goes to a terminal unfiltered
	began        bool      // the agent was started
	commands     *commands // nil: nobody hears of them
	denials      denials
	findings     findings
	endQuestions func() // once no agent waits for an answer
	posed        posed  // questions for the person at the terminal
	result       RunResult

	program    carrel.Digest // of the agent's executable; "" if not known
	policyKept error         // why the text of the policy could not be kept
	applied    []selected    // changes that were applied at quiet moments, to be attested
	notBefore  time.Time     // when a quiet moment counts again
}

// exec is the action that starts the agent.
func (v *visit) exec() carrel.Action {
	return carrel.Action{
		Run: v.id, Operation: carrel.OpExec, Agent: v.profile.Name,
		Path: v.plan.Program, Argv: hook.Recordable(v.opts.Command), Cwd: carrel.Text(v.plan.Dir),
	}
}

// begin fills in what is known of the run before it starts.
func (v *visit) begin() {
	v.result = RunResult{
		Version: runVersion, Run: v.id, Agent: v.profile.Name, Command: v.exec().Argv,
		Workspace: carrel.Text(v.ws.Root()), Desk: v.seat.ID(), Base: v.seat.Base(),
		Started: time.Now().UTC(), State: RunRuns, Tier: v.tier.Name(), Staging: v.seat.Staging(),
		Policy: v.policy.Digest(), Grants: v.handedOver(), Warnings: v.warnings(),
	}
}

// interactive reports whether a person is at both ends of the run.
func (v *visit) interactive() bool {
	h := v.e.host
	return term.IsTerminal(int(h.Stdin.Fd())) && term.IsTerminal(int(h.Stdout.Fd()))
}

// close gives back what prepare took.
func (v *visit) close() {
	if v.seat != nil {
		if !v.began {
			_ = v.seat.Unused() // else a later change may be called a conflict, which is safe
		}
		_ = v.seat.Close() // the work is on disk; what fails here is a lock that ends with the process
	}
	if v.cache != nil {
		_ = v.cache.Close() // as above
	}
	if v.denials.notices != nil {
		_ = v.denials.notices.Close()
	}
	if v.runDir != "" {
		_ = os.RemoveAll(v.runDir)
	}
}
