#!/bin/sh
# gofmt, vet and staticcheck over the whole tree. Fails on the first kind of
# finding, after printing all of that kind.
set -eu
unformatted=$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -l)
if [ -n "$unformatted" ]; then
	echo "not gofmt-ed:"
	echo "$unformatted"
	exit 1
fi
echo "go vet"
go vet ./...
echo "staticcheck"
mkdir -p bin
(cd tools && GOWORK=off go build -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck)
bin/staticcheck ./...
