// Package config reads Carrel's configuration, strictly: the organisation's,
// the user's and the repository's. It joins them into one effective
// configuration in which every value knows who said it, and keeps which of a
// repository's grants the user has accepted.
//
// It owns the schema and the user's file, and is trusted with telling the
// user's word from a repository's: what a repository narrows applies at once,
// what it grants is only a wish until it is trusted. It reads no environment
// variable and finds no file by itself: paths and the repository's bytes, as
// they are in the base commit, are handed in.
package config
