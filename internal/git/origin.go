package git

import (
	"net/url"
	"path/filepath"
	"strings"
)

// Origin says where the repository was cloned from, without credentials, as
// its settings have it; "" if they do not say. It names the repository for
// people and policies, and nothing is fetched from it.
func (r *Repo) Origin() string {
	content, err := readSmall(filepath.Join(r.Common, "config"))
	if err != nil {
		return ""
	}
	return withoutSecrets(parseConfig(content)["remote.origin.url"])
}

// withoutSecrets drops user and password from a URL; git@host of SSH is no
// secret and part of the name.
func withoutSecrets(origin string) string {
	if !strings.Contains(origin, "://") {
		return origin
	}
	u, err := url.Parse(origin)
	if err != nil {
		return ""
	}
	if u.Scheme != "ssh" {
		u.User = nil
	} else if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	u.RawQuery, u.Fragment = "", ""
	return u.String()
}
