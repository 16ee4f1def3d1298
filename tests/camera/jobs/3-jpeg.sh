# A camera's own JPEGs arrive as they left it, byte for byte.

framewire record "$JPEG" - --format mjpeg --duration 3 >/tmp/door.mjpeg 2>>"$LOG"
check 'three seconds of the JPEG camera go to standard output' test $? -eq 0

ffmpeg -v error -f mjpeg -i /tmp/door.mjpeg -c copy -f framemd5 - 2>>"$LOG" | sed -n '/^[^#]/s/.*, *//p' >/tmp/door.md5
frames=$(wc -l </tmp/door.md5)
same=$(grep -cFxf clip.md5 /tmp/door.md5)
check "at least 50 JPEGs arrive: $frames" test "$frames" -ge 50
check "each is one of the camera's, byte for byte: $same of $frames" test "$frames" -gt 0 -a "$same" -eq "$frames"

# Their places in the film, which begins again at its end: steps of one frame, or more where one was dropped.
steps=$(awk 'NR == FNR { place[$1] = NR; films = NR; next } FNR > 1 { print (place[$1] - last + films) % films } { last = place[$1] }' clip.md5 /tmp/door.md5)
single=$(grep -cx 1 <<<"$steps")
check "they are in order, nearly all without a gap: $single of $((frames - 1)) steps" test "$frames" -gt 1 -a "$single" -ge $(((frames - 1) * 9 / 10))
