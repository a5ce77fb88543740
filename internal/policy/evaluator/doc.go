// Package evaluator starts this program again as the process in which policies
// of others are compiled and evaluated, and talks to it.
//
// It owns that process, its bounds and the frames on its pipes. The process is
// trusted with nothing but its answers: it holds no key, no file and no
// socket. Whoever brings it down by a policy that loops or grows has brought
// down the answers of that policy, which denies; the supervisor goes on.
package evaluator
