# Jobs whose fate can be read afterwards, for crashes.py: sh counting.sh prints|silent|reads TOKEN
#
# Each appends to TOKEN, which it keeps open: `start PID PARENT` first, then `tick N` for each line. It ends with 113 once
# TOKEN.finish.PID exists, or after 120 s. A shell, since it takes SIGPIPE as its parent left it, as commands in C do: where that
# is the default a closed pipe ends it, where it is ignored it goes on and its lines are lost. A line names the process,
# since a second copy prints the same numbers.

habit=$1 token=$2 number=0
exec 3>>"$token"
echo "start $$ $PPID" >&3

if [ "$habit" = reads ]; then
    while IFS= read -r line; do
        echo "$line"
        echo "tick $number" >&3
        number=$((number + 1))
    done
    exit 113
fi

while [ $number -lt 1200 ]; do
    [ "$habit" = silent ] || echo "tick $$ $number."
    echo "tick $number" >&3
    [ ! -e "$token.finish.$$" ] || exit 113
    sleep 0.1
    number=$((number + 1))
done
