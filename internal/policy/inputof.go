package policy

import "github.com/carrel-dev/carrel"

// InputOf is what every policy sees of an action, as canonical JSON: for
// programs beside Carrel that evaluate the same rules. What no policy may see
// is an error.
func InputOf(a carrel.Action) ([]byte, error) {
	in, err := newInput(a)
	if err != nil {
		return nil, err
	}
	return in.json, nil
}
