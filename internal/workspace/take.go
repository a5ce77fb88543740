package workspace

import "context"

func (w *Workspace) resume(ctx context.Context, opts SeatOptions) (*Seat, error) { panic("not yet") }

func (w *Workspace) newSeat(ctx context.Context, opts SeatOptions) (*Seat, error) { panic("not yet") }
