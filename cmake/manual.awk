# manual.awk: PROGRAM.8 in mdoc from the daemon's README.md (first file) and its lines of posthorn.params (second file).
# Variables: name, date.
function plain(s) {
  gsub(/`/, "", s); gsub(/\*\*/, "", s); gsub(/\\/, "\\e", s)
  if (s ~ /^[.']/) s = "\\&" s
  return s
}
function list_end() { if (in_list) { print ".El"; in_list = 0 } }
BEGIN {
  printf ".\\\" made from README.md and --params; change those\n.Dd %s\n.Dt %s 8\n.Os Posthorn\n", date, toupper(name)
}
FNR == 1 { file++ }
file == 1 && FNR == 1 && /^# / { next }
file == 1 && /^$/ { list_end(); if (started) blank = 1; next }
file == 1 && /^#+ / { list_end(); sub(/^#+ /, ""); print ".Sh " toupper(plain($0)); blank = 0; next }
file == 1 && /^```/ { list_end(); print (verbatim = !verbatim) ? ".Bd -literal -offset indent" : ".Ed"; next }
file == 1 {
  if (!started) {
    first = $0; sub(/[.:;,]( .*)?$/, "", first)
    printf ".Sh NAME\n.Nm %s\n.Nd %s\n.Sh DESCRIPTION\n", name, plain(first); started = 1
  } else if (blank && !in_list && !verbatim) print ".Pp"
  blank = 0
  if (/^- / && !verbatim) {
    if (!in_list) { print ".Bl -bullet -compact"; in_list = 1 }
    print ".It"; sub(/^- /, "")
  }
  sub(/^ +/, ""); print plain($0); next
}
file == 2 {
  n = split($0, f, "\t")
  if (f[1] != name) next
  if (!params++) { list_end(); print ".Sh CONFIGURATION PARAMETERS\nOf\n.Pa main.cf ,\nor\n.Fl o\nin\n.Pa master.cf .\n.Bl -tag -width Ds" }
  printf ".It Va %s = %s\n", f[2], f[4] == "" ? "(empty)" : plain(f[4])
  range = ""
  if (f[3] ~ /^(int|size|time)$/ && (f[5] != 0 || f[6] != 0)) range = " From " f[5] (f[6] != 0 ? " to " f[6] : " up") "."
  printf "%s%s\n", plain(f[7]), range
}
END {
  list_end()
  if (params) print ".El"
  print ".Sh SEE ALSO\n.Xr postconf 1 ,\n.Xr master 8"
}
