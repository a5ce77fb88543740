package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/blob"
	"github.com/carrel-dev/carrel/internal/git"
)

// wasCommitted reports whether what the agent started from at this path was
// what the base commit has; a digest that is not known raises no doubt.
func (p *branchPlan) wasCommitted(ctx context.Context, f *carrel.FileChange, base git.Entry) (bool, error) {
	switch {
	case f.Before.Kind != carrel.FileRegular && f.Before.Kind != carrel.FileLink:
		return true, nil
	case !isBlob(base):
		return false, nil
	case f.Before.Digest == "", f.Before.Size > maxBefore && p.attrs[string(f.Path)].Converts():
		return true, nil
	}
	if f.Before.Kind == carrel.FileLink {
		_, object, err := git.Sum(bytes.NewReader([]byte(f.Before.Target)), int64(len(f.Before.Target)), base.Object)
		return object == base.Object, err
	}
	was, err := p.opts.Blobs.Read(f.Before.Digest, maxConvert)
	if errors.Is(err, blob.ErrNotFound) { // too long to be kept: compare the other way round
		committed, err := p.opts.Repo.ReadBlob(ctx, base.Object)
		return err == nil && carrel.DigestBytes(committed).Equal(f.Before.Digest), err
	}
	if err != nil {
		return false, err
	}
	if was, err = p.clean(ctx, p.attrs[string(f.Path)], was, base); err != nil {
		return false, err
	}
	_, object, err := git.Sum(bytes.NewReader(was), int64(len(was)), base.Object)
	return object == base.Object, err
}

// maxConvert bounds a file whose line ends are converted.
const maxConvert = 64 << 20

func (p *branchPlan) clean(ctx context.Context, attrs git.Attributes, content []byte, base git.Entry) ([]byte, error) {
	return attrs.Clean(content, func() ([]byte, error) {
		if !isBlob(base) {
			return nil, nil
		}
		return p.opts.Repo.ReadBlob(ctx, base.Object)
	})
}

type openContent = func() (io.ReadCloser, int64, error)

func inMemory(b []byte) (io.ReadCloser, int64, error) {
	return io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
}

func linkContent(f *carrel.FileChange) openContent {
	return func() (io.ReadCloser, int64, error) {
		if !carrel.DigestBytes([]byte(f.Target)).Equal(f.Digest) {
			return nil, 0, fmt.Errorf("the link's target does not match its digest")
		}
		return inMemory([]byte(f.Target))
	}
}

func (p *branchPlan) converted(ctx context.Context, f *carrel.FileChange, attrs git.Attributes, base git.Entry) openContent {
	return func() (io.ReadCloser, int64, error) {
		content, err := p.opts.Blobs.Read(f.Digest, maxConvert)
		if err == nil {
			content, err = p.clean(ctx, attrs, content, base)
		}
		if err != nil {
			return nil, 0, err
		}
		return inMemory(content)
	}
}

// inMemoryMax bounds contents that need no file of their own on their way.
const inMemoryMax = 4 << 20

// content is the frozen content, verified before the first byte is passed on.
func (p *branchPlan) content(f *carrel.FileChange) openContent {
	return func() (io.ReadCloser, int64, error) {
		if f.Size <= inMemoryMax {
			content, err := p.opts.Blobs.Read(f.Digest, inMemoryMax)
			if err != nil {
				return nil, 0, err
			}
			return inMemory(content)
		}
		copied, err := os.CreateTemp("", "carrel-content-")
		if err != nil {
			return nil, 0, err
		}
		_ = os.Remove(copied.Name())
		n, err := p.opts.Blobs.CopyTo(copied, f.Digest)
		if err == nil {
			_, err = copied.Seek(0, io.SeekStart)
		}
		if err != nil {
			copied.Close()
			return nil, 0, err
		}
		return copied, n, nil
	}
}
