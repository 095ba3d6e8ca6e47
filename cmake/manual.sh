# manual.sh OUTDIR PARAMS SOURCE_DATE COMMAND_PAGES -- NAME=README...: man8/NAME.8 for each daemon, tools/NAME.1 and NAME.8 as they are.
out=$1 params=$2 date=$3
shift 3
mkdir -p "$out/man1" "$out/man8" || exit 1
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  cp "$1" "$out/man${1##*.}/" || exit 1
  shift
done
shift
awk_script=$(dirname "$0")/manual.awk
for pair; do
  name=${pair%%=*} readme=${pair#*=}
  [ -f "$(dirname "$0")/../tools/$name.8" ] && continue # written by hand
  [ -f "$readme" ] || { echo "$name has no README.md" >&2; exit 1; }
  awk -v name="$name" -v date="$date" -f "$awk_script" "$readme" "$params" > "$out/man8/$name.8.tmp" &&
    mv "$out/man8/$name.8.tmp" "$out/man8/$name.8" || exit 1
done
