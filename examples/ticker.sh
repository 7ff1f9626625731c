#!/bin/sh
# The bundled demo program: says something once a second until it is told to end.
trap 'echo "told to end"; exit 0' TERM
echo "ticker: started as pid $$"
n=0
while :; do
	n=$((n + 1))
	echo "tick $n"
	sleep 1 &
	wait $!
done
