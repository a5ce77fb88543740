package desk

import (
	"errors"

	"golang.org/x/sys/unix"
)

// receive reads the supervisor's orders until it is gone, which closes the
// channel.
func receive(link *Link) <-chan Message {
	orders := make(chan Message)
	go func() {
		defer close(orders)
		for {
			m, err := link.Receive()
			if err != nil {
				return
			}
			if m.Kind == Listen {
				answer(link, m.Text)
				continue
			}
			orders <- m
		}
	}()
	return orders
}

// answer opens one more listening socket for the supervisor. After the
// capabilities are gone it can only fail.
func answer(link *Link, text string) {
	fd, err := listenFor(text)
	if err != nil {
		_ = link.Send(Message{Kind: Listening, Text: err.Error()})
		return
	}
	defer unix.Close(fd)
	_ = link.Send(Message{Kind: Listening, Files: []int{fd}})
}

var errGone = errors.New("the supervisor is gone")

// await collects the mounts that the supervisor opens, if it does.
func await(orders <-chan Message, p *Plan) ([]int, error) {
	want := 0
	for i := range p.Mounts {
		if k := p.Mounts[i].Kind; k == Bind || k == Overlay {
			want++
		}
	}
	var handed []int
	for p.Handed && len(handed) < want {
		m, ok := <-orders
		if !ok {
			return nil, errGone
		}
		if m.Kind != Mounts || len(m.Files) == 0 {
			return nil, errors.New("unexpected order before the mounts")
		}
		handed = append(handed, m.Files...)
	}
	return handed, nil
}
