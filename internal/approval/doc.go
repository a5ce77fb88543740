// Package approval keeps people's answers to asks: one file per answer, found
// by the digest of the action it is about, bound to its run and to the policy
// that asked, and never without an end.
//
// It owns the directory of answers below the state directory and is trusted
// with it: whoever can write there as the user can answer for the user, which
// is why the agent never sees it. It refuses answers that anybody else could
// have written, and the gate checks every answer again.
package approval
