package policy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
)

// maxLayerData bounds the data of a layer.
const maxLayerData = 4 << 20

// base is the data of a layer: documents beside its rules, and the only store
// its rules can read.
type base struct {
	storage.Store
	root ast.Object
}

// newBase reads data, a JSON object, and refuses what rules define as well.
func newBase(data []byte, c *ast.Compiler) (base, error) {
	if len(data) == 0 {
		return base{}, nil
	}
	if len(data) > maxLayerData {
		return base{}, fmt.Errorf("data: more than %d bytes", maxLayerData)
	}
	v, err := ast.ValueFromReader(bytes.NewReader(data))
	if err != nil {
		return base{}, fmt.Errorf("data.json cannot be read as JSON: %w", err)
	}
	root, ok := v.(ast.Object)
	if !ok {
		return base{}, errors.New("data: not a JSON object")
	}
	if err := conflict(root, ast.DefaultRootRef, c); err != nil {
		return base{}, err
	}
	return base{root: root}, nil
}

// conflict finds a document that lies where a rule does: which of them counts
// must not be a matter of the evaluator's habits.
func conflict(o ast.Object, at ast.Ref, c *ast.Compiler) error {
	var found error
	o.Foreach(func(k, v *ast.Term) {
		ref := at.Append(k)
		child, isObject := v.Value.(ast.Object)
		switch {
		case found != nil || len(c.GetRulesWithPrefix(ref)) == 0:
		case len(c.GetRulesExact(ref)) > 0 || !isObject:
			found = fmt.Errorf("data: %s is data and a rule at once", ref)
		default:
			found = conflict(child, ref, c)
		}
	})
	return found
}

// Read implements storage.Store.
func (b base) Read(_ context.Context, _ storage.Transaction, path storage.Path) (any, error) {
	if b.root == nil {
		return nil, errNoData
	}
	var v ast.Value = b.root
	for _, step := range path {
		var t *ast.Term
		switch at := v.(type) {
		case ast.Object:
			t = at.Get(ast.StringTerm(step))
		case *ast.Array:
			if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < at.Len() {
				t = at.Elem(i)
			}
		}
		if t == nil {
			return nil, errNoData
		}
		v = t.Value
	}
	return v, nil
}

var errNoData = &storage.Error{Code: storage.NotFoundErr, Message: "no such data"}
