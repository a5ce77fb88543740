package egress

// Paths compiles patterns as in a rule's Paths, for others who bound requests
// the same way. match answers for paths in their one spelling, and for no
// other spelling; without patterns it answers for all of them.
func Paths(patterns []string) (match func(path string) bool, err error) {
	var c compiled
	r := Rule{Paths: patterns}
	if err := c.setRequests(&r); err != nil {
		return nil, err
	}
	return func(path string) bool {
		plain, err := canonicalPath(path)
		return err == nil && plain == path && c.grantsPath(path)
	}, nil
}
