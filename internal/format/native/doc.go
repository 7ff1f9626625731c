// Package native reads and writes abide's own definitions: NAME.toml, and the
// services of an abide.toml. It promises that every key of FORMAT's table is
// honoured or refused with file, line and column, and that what it writes reads
// back as the same service. It opens no files: merging of layers is its work,
// finding them is that of the definitions package.
package native
