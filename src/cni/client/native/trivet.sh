#!/bin/sh
# Stands in for the static client where there was no C compiler: the same behaviour, at the price of a Node.js process a
# call, since the program that it starts asks the agent itself. Where that program is, a file beside this one may say.
program=/opt/trivet/current/bin/trivet
beside=${0%/*}/.trivet-standalone
[ -r "$beside" ] && read -r program <"$beside"
if [ ! -x "$program" ]; then
  case ${CNI_COMMAND:-} in STATUS) code=50 ;; *) code=11 ;; esac
  message="the plugin's program $program is not there"
  echo "trivet: $message" >&2
  printf '{"cniVersion":"1.0.0","code":%s,"msg":"%s"}\n' "$code" "$message"
  exit 1
fi
exec "$program" cni
