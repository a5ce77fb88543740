// Command carrel-init is PID 1 of a native desk. Carrel embeds and starts it;
// nobody calls it by hand. It is trusted with building the walls and holds
// nothing that is worth stealing.
package main

import (
	"os"

	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

func main() { os.Exit(desk.Main()) }
