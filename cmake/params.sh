# params.sh OUT DAEMON...: one line for each parameter of each daemon, "daemon TAB what --params prints".
out=$1
shift
export ASAN_OPTIONS=detect_leaks=0
: > "$out.tmp" || exit 1
for daemon; do
  lines=$("$daemon" --params) || { echo "$daemon --params failed" >&2; exit 1; }
  printf '%s\n' "$lines" | sed "s|^|$(basename "$daemon")	|" >> "$out.tmp" || exit 1
done
mv "$out.tmp" "$out"
