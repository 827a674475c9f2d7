# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034  # variables are for those who source this
#
# What the programs of this test share. The guest runs in the background, with its console in $out.

# shellcheck source=/dev/null # of the kernel
. /selftests/lib/ktap_helpers.sh

# What is typed to a guest that is gone is a failure of what waits for its answer.
trap '' PIPE
out=/tmp/guest.out err=/tmp/guest.err data=/tmp/data

# start OPTION...: runs a guest; what is written to descriptor 3 is typed.
start() {
	rm -f /tmp/guest.in
	mkfifo /tmp/guest.in
	: >$out
	mvirt run --name debian "$@" </tmp/guest.in >$out 2>$err &
	pid=$!
	exec 3>/tmp/guest.in
}
# said PATTERN: the guest has said a line that begins like that.
said() { tr -d '\r' <$out | grep -q "^GUEST $1"; }
# says PATTERN: it does within ten minutes, or as long as it lives.
says() {
	n_waited=0
	until said "$1"; do
		if ! kill -0 "$pid" 2>/dev/null || [ $((n_waited += 1)) -gt 1200 ]; then
			# Its last words may have come since.
			said "$1"
			return
		fi
		sleep 0.5
	done
}
# ends STATUS: within five minutes.
ends() {
	n_waited=0
	while kill -0 "$pid" 2>/dev/null; do
		if [ $((n_waited += 1)) -gt 600 ]; then
			kill "$pid"
			break
		fi
		sleep 0.5
	done
	wait "$pid"
	[ $? = "$1" ]
}
# result NAME COMMAND...: with the end of what was printed if it failed.
result() {
	name=$1
	shift
	if "$@" 2>/tmp/said; then
		ktap_test_pass "$name"
	else
		tail -n 2 /tmp/said | while read -r line; do ktap_print_msg "said: $line"; done
		tail -n 4 $err | while read -r line; do ktap_print_msg "stderr: $line"; done
		tail -n 12 $out | tr -d '\r' | while read -r line; do ktap_print_msg "console: $line"; done
		ktap_test_fail "$name"
	fi
}
