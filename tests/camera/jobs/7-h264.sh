# A camera's own H.264 is passed on as it is, and decoded where it is not.

# pictures FILE: a checksum of each.
pictures() { ffmpeg -v error -xerror -i "$1" -f framemd5 - 2>>"$LOG" | sed -n '/^[^#]/s/.*, *//p'; }

framewire record "$H264" /tmp/units.mkv --codec copy --duration 3 >>"$LOG" 2>&1
check 'three seconds of the H.264 camera are recorded as they are' test $? -eq 0
facts=$(ffprobe -v error -select_streams v -show_entries stream=codec_name,width,height -of csv=p=0 /tmp/units.mkv 2>>"$LOG")
check "they are H.264 of 640x360: $facts" test "$facts" = h264,640,360
pictures /tmp/units.mkv >/tmp/units.md5
frames=$(wc -l </tmp/units.md5)
same=$(grep -cFxf units.md5 /tmp/units.md5)
check "at least 50 pictures come: $frames" test "$frames" -ge 50
check "each is one of the camera's, to the last bit: $same of $frames" test "$frames" -gt 0 -a "$same" -eq "$frames"

# A camera's driver has room for a few frames: while nobody reads, it loses some, and says nothing of it. Three times, for what
# comes next may just be a keyframe.
start framewire record "$H264" /tmp/lost.mkv --codec copy --duration 6
within 20 grown /tmp/lost.mkv 0
for _ in 1 2 3; do
  kill -STOP $started
  read -rt 0.6 <>/tmp/never
  kill -CONT $started
  read -rt 0.5 <>/tmp/never
done
wait $started
check 'one that stands still three times meanwhile ends well' test $? -eq 0
check 'it says that frames are missing' grep -q 'frames that it needs are missing' "$LOG.started"
pictures /tmp/lost.mkv >/tmp/lost.md5
frames=$(wc -l </tmp/lost.md5)
same=$(grep -cFxf units.md5 /tmp/lost.md5)
check "each picture is one of the camera's nevertheless: $same of $frames" test "$frames" -ge 20 -a "$same" -eq "$frames"

framewire record "$H264" - --format bgr24 --duration 2 >/tmp/units.bgr 2>>"$LOG"
check 'without --codec copy it is decoded' test $? -eq 0
decoded=$(($(stat -c %s /tmp/units.bgr) / (640 * 360 * 3)))
check "at least 20 pictures come: $decoded" test "$decoded" -ge 20

serve "$H264#codec=copy"
curl -sf -m 20 -o /tmp/units.jpg "http://$HUB/streams/door/snapshot.jpg"
check 'a snapshot is made of it' test $? -eq 0
check 'it decodes' ffmpeg -v error -xerror -i /tmp/units.jpg -f null -
curl -sf -m 20 "http://$HUB/streams/door" >/tmp/door.json 2>>"$LOG"
check "the hub's stream is H.264" grep -q '"codec": *"h264"' /tmp/door.json
