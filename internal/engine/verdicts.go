//go:build linux

package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/approval"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/policy"
)

// gatedOperations are the agent's operations that this build decides one by
// one. A policy that names another is reported, since it would wait in vain.
var gatedOperations = append([]carrel.Operation{
	carrel.OpExec, // the agent's own start
	carrel.OpWrite, carrel.OpDelete, carrel.OpPublish,
	carrel.OpResolve, carrel.OpConnect, carrel.OpRequest, carrel.OpCredential, carrel.OpExpose,
}, carrel.OperatorOperations...)

// networkOperations are what the network rules answer for alone; the use of
// credentials is credentialLayer's.
var networkOperations = []carrel.Operation{carrel.OpResolve, carrel.OpConnect, carrel.OpRequest}

// egressLayer makes the user's network rules one voice of the policy: grants is
// what they were made from, as canonical JSON.
func egressLayer(rules *egress.Rules, grants []byte) policy.Layer {
	return policy.Layer{
		Name: "egress", Kind: policy.User, Governs: networkOperations, Text: grants,
		Func: func(a carrel.Action) policy.Answer {
			d := rules.Decide(a)
			return policy.Answer{Verdict: d.Verdict, Rules: unprefixed(d.Rules), Reason: d.Reason, NextSteps: d.NextSteps, Addresses: d.Addresses}
		},
	}
}

// operator is what a verb of the user needs to act on a change: the policy
// that was in force for its run, without the run's network rules.
type operator struct {
	gate     *gate.Gate
	policy   *policy.Engine
	answers  *approval.Store
	log      *audit.Log
	refusals denials
}

// operator builds the road for a verb about a change of the given run.
func (e *Engine) operator(ctx context.Context, run carrel.RunID) (*operator, error) {
	log, err := e.openLog()
	if err != nil {
		return nil, err
	}
	cfg, err := e.userSettings()
	if err != nil {
		return nil, err
	}
	layers := cfg.policyLayers
	if run != "" {
		r, err := e.loadRun(run)
		if err != nil {
			return nil, fmt.Errorf("the policy of the run: %w", err)
		}
		more, err := e.keptLayers(r.PolicyFiles)
		if err != nil {
			return nil, err
		}
		layers = append(slices.Clone(layers), more...)
	}
	engine, err := e.policyInForce(ctx, layers...)
	if err != nil {
		return nil, err
	}
	answers, err := approval.Open(e.state("approvals"))
	if err != nil {
		return nil, err
	}
	answers.By = e.host.User
	answers.Confirm = e.confirm
	op := &operator{gate: gate.New(engine, answers, log), policy: engine, answers: answers, log: log}
	op.gate.OnRefusal, op.gate.Redact = op.refusals.refused, e.redact.Action
	return op, nil
}

// keptData stands for the data of a layer among its files.
const keptData = "data.json"

// keepLayers stores the Rego that --policy added to a run.
func (e *Engine) keepLayers(layers []policy.Layer) ([]policyFile, error) {
	if len(layers) == 0 {
		return nil, nil
	}
	batch, err := e.blobs.Batch()
	if err != nil {
		return nil, fmt.Errorf("keeping the run's policy: %w", err)
	}
	defer batch.Abort()
	var kept []policyFile
	for _, l := range layers {
		files := l.Files
		if len(l.Data) > 0 {
			files = append(slices.Clone(files), policy.File{Name: keptData, Source: l.Data})
		}
		for _, f := range files {
			digest, err := batch.PutBytes(f.Source)
			if err != nil {
				return nil, fmt.Errorf("keeping policy %s: %w", f.Name, err)
			}
			kept = append(kept, policyFile{l.Name, f.Name, digest})
		}
	}
	return kept, batch.Commit()
}

// keptLayers reads them back.
func (e *Engine) keptLayers(files []policyFile) ([]policy.Layer, error) {
	var layers []policy.Layer
	for _, f := range files {
		source, err := e.blobs.Read(f.Digest, maxPolicyFile)
		if err != nil {
			return nil, fmt.Errorf("the run's policy %s: %w", f.Name, err)
		}
		i := slices.IndexFunc(layers, func(l policy.Layer) bool { return l.Name == f.Layer })
		if i < 0 {
			kind := policy.User
			if f.Layer == repositoryLayer {
				kind = policy.Repository
			}
			layers = append(layers, policy.Layer{Name: f.Layer, Kind: kind})
			i = len(layers) - 1
		}
		if f.Name == keptData {
			layers[i].Data = source
			continue
		}
		layers[i].Files = append(layers[i].Files, policy.File{Name: f.Name, Source: source})
	}
	return layers, nil
}

// unprefixed drops the layer's name, which the policy engine puts before the
// rules of every layer.
func unprefixed(rules []string) []string {
	out := make([]string, len(rules))
	for i, r := range rules {
		out[i] = strings.TrimPrefix(r, "egress/")
	}
	return out
}
