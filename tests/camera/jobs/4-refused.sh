# What cannot be opened is one clear line and exit status 1.

refused() { # TEXT DEVICE WORDS
  timeout 20 framewire record "$2" /tmp/refused.mkv --duration 1 >/tmp/said 2>&1
  local status=$?
  cat /tmp/said >>"$LOG"
  check "$1: exit status 1, got $status" test $status -eq 1
  check "and a line that names the device and says why: $(tail -n 1 /tmp/said)" grep -qiE "$2.*($3)" /tmp/said
}

start v4l2-ctl -d "$RAW" --stream-mmap --stream-to=/tmp/other
within 10 grown /tmp/other 0
refused 'a camera that another program uses' "$RAW" 'in use|busy'
kill $started
refused 'a camera that is not there' /dev/video7 'no such|not there|not exist|no camera'
