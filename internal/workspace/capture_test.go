package workspace

import "testing"

func TestStaging(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		s.write("a.txt", "one\n")
		s.write("gone.txt", "x\n")
		s.write("dir/b.txt", "b\n")
		s.write("tree/c/d.txt", "d\n")
		s.write("same.txt", "same\n")
		s.write("tool.sh", "#!/bin/sh\n")
		s.write("kind", "file\n")
		_, c := s.run(`
			echo two >> a.txt
			rm gone.txt
			rm -r tree
			mkdir -p new/deep empty
			echo n > new/deep/n.txt
			touch same.txt
			chmod +x tool.sh
			rm kind; mkdir kind; echo k > kind/k
			ln -s a.txt link
			rm -r dir; mkdir dir; echo other > dir/other.txt
		`)
		expect(t, c.Withheld)
		expect(t, c.Files,
			"modify file a.txt",
			"delete none dir/b.txt",
			"create file dir/other.txt",
			"create dir empty",
			"delete none gone.txt",
			"type dir kind",
			"create file kind/k",
			"create link link",
			"create file new/deep/n.txt",
			"mode file tool.sh",
			"delete none tree",
			"delete none tree/c",
			"delete none tree/c/d.txt",
		)
		if s.read("a.txt") != "one\n" || s.read("gone.txt") != "x\n" {
			t.Error("the tree was altered")
		}
	})
	asUser(t, "^TestStaging$")
}
