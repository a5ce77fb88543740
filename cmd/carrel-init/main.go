// Command carrel-init is PID 1 of a native desk. Carrel embeds and starts it;
// nobody calls it by hand.
package main

import (
	"os"

	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

func main() { os.Exit(desk.Main()) }
