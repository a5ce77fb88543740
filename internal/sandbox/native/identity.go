package native

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// Identity is whose rights a desk has.
type Identity struct {
	Inside   int  // user and group number inside
	Outside  int  // what the kernel checks: never 0
	Group    int  // the same for the group, outside and, unless dedicated, inside
	Borrowed bool // started by root: Outside is a number that nobody else has
}

const (
	// insideForRoot is whom a desk started by root believes to be: many
	// programs refuse to work, or weaken themselves, as user 0.
	insideForRoot = 1000
	// dedicated is the number that desks started by root have. It lies where
	// no account and no container range of the common systems does.
	dedicated = 2_000_000_001
	// dedicatedSmall is used where the number above does not exist, as in a
	// container with 65,536 users.
	dedicatedSmall = 64_987
)

// Who returns the identity of the desks of this process, which stays what it
// was at first.
func Who() (Identity, error) { return who() }

var who = sync.OnceValues(findIdentity)

func findIdentity() (Identity, error) {
	if uid := os.Geteuid(); uid != 0 {
		return Identity{Inside: uid, Outside: uid, Group: os.Getegid()}, nil
	}
	for _, id := range []int{dedicated, dedicatedSmall} {
		if mapped(id) && !taken(id) {
			return Identity{Inside: insideForRoot, Outside: id, Group: id, Borrowed: true}, nil
		}
	}
	return Identity{}, &sandbox.StartError{Code: codeOwn,
		Err: fmt.Errorf("started as user 0, and no unused user number for the desk: %d and %d are taken or do not exist in this user namespace", dedicated, dedicatedSmall),
		Fix: "run Carrel as an ordinary user, outside of a namespace that knows user 0 only (as of unshare -Ur); a container needs 65,536 users"}
}

// mapped reports whether id exists in this user namespace.
func mapped(id int) bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line) // first number here, outside, how many
		if len(f) != 3 {
			continue
		}
		first, err := strconv.ParseInt(f[0], 10, 64)
		count, cerr := strconv.ParseInt(f[2], 10, 64)
		if err == nil && cerr == nil && int64(id) >= first && int64(id) < first+count {
			return true
		}
	}
	return false
}

// taken reports whether an account has the number.
func taken(id int) bool {
	b, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return false // no accounts
	}
	return strings.Contains(string(b), fmt.Sprintf(":x:%d:", id))
}

func (id Identity) mapping() mapping {
	return mapping{id.Inside, id.insideGroup(), id.Outside, id.Group, id.Borrowed}
}

func (id Identity) insideGroup() int {
	if id.Borrowed {
		return id.Inside
	}
	return id.Group
}
