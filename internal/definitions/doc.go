// Package definitions finds and reads what an instance of abide is to run: the
// folders of its scope, layer over layer, with drop-ins and templates. It
// promises that a broken, hostile or missing file never hides another one, that
// nothing it opens can make it wait, and that as root it takes no definition that
// someone else could have written. It must not write anything.
package definitions
