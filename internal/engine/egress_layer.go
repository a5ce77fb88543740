//go:build linux

package engine

import (
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/egress"
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

// unprefixed drops the layer's name, which the policy engine puts before the
// rules of every layer.
func unprefixed(rules []string) []string {
	out := make([]string, len(rules))
	for i, r := range rules {
		out[i] = strings.TrimPrefix(r, "egress/")
	}
	return out
}
