// Command abide is the command line: see internal/cli.
package main

import (
	"os"

	"github.com/abide-project/abide/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
