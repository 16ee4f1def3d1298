# A hub opens its camera for the first viewer and closes it ten seconds after the last.

serve "$RAW#size=640x360#fps=25"
check 'nobody watches: the camera is closed' released $hub "$RAW"

curl -sf -m 20 -o /tmp/snapshot.jpg "http://$HUB/streams/door/snapshot.jpg"
check 'a snapshot comes' test $? -eq 0
left=$(milliseconds)
check 'the camera is open' holds $hub "$RAW"
size=$(ffprobe -v error -show_entries stream=codec_name,width,height -of csv=p=0 /tmp/snapshot.jpg 2>>"$LOG")
check "it is a JPEG of 640x360: $size" test "$size" = mjpeg,640,360
check 'it decodes' ffmpeg -v error -xerror -i /tmp/snapshot.jpg -f null -

since=$left
soon 13 'the camera is closed again 10 s after the last viewer' released $hub "$RAW"
unset since
check "and not long before that: after $took s" test "${took%.*}" -ge 9
check 'and opens for the next one' curl -sf -m 20 -o /tmp/again.jpg "http://$HUB/streams/door/snapshot.jpg"

kill -TERM $hub
wait $hub
check 'the hub ends with status 0 when asked to' test $? -eq 0
