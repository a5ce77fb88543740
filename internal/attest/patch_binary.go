package attest

import (
	"bytes"
	"compress/zlib"
)

// literals writes both contents whole, as git's binary patches do.
func (p *patch) literals(was, now []byte) error {
	p.printf("GIT binary patch\n")
	for _, content := range [][]byte{now, was} {
		var packed bytes.Buffer
		w, err := zlib.NewWriterLevel(&packed, zlib.BestSpeed)
		if err != nil {
			return err
		}
		if _, err := w.Write(content); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		p.printf("literal %d\n", len(content))
		p.base85(packed.Bytes())
		p.printf("\n")
	}
	return nil
}

const base85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"

// base85 writes lines of at most 52 bytes, each with its length as a letter.
func (p *patch) base85(data []byte) {
	for len(data) > 0 {
		n := min(len(data), 52)
		length := byte('A' + n - 1)
		if n > 26 {
			length = byte('a' + n - 27)
		}
		p.out.WriteByte(length)
		for i := 0; i < n; i += 4 {
			var group [4]byte
			copy(group[:], data[i:min(i+4, n)])
			value := uint32(group[0])<<24 | uint32(group[1])<<16 | uint32(group[2])<<8 | uint32(group[3])
			var digits [5]byte
			for k := 4; k >= 0; k-- {
				digits[k] = base85[value%85]
				value /= 85
			}
			p.out.Write(digits[:])
		}
		p.out.WriteByte('\n')
		data = data[n:]
	}
}
