// Package egress is the desk's only way out: it captures every connection of
// a desk's network namespace, knows each one by name, asks the gate, and
// carries what was allowed.
//
// It owns the grammar of network rules, the names and synthetic addresses a
// desk sees, the rules and routes of the desk's namespace, and the model
// door. It is trusted with dialling nothing but the destination that was
// decided, at an address that was checked; and with the agent's model key,
// which it adds outside and never shows inside. Everything that arrives from
// the desk is hostile.
package egress
