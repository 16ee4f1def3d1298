# A raw camera, recorded: as many frames as asked for, of the size asked for.

framewire record "$RAW" /tmp/raw.mkv --size 640x360 --fps 25 --duration 3 >>"$LOG" 2>&1
check 'three seconds of the raw camera are recorded' test $? -eq 0

facts=$(ffprobe -v error -select_streams v -count_packets -show_entries stream=width,height,nb_read_packets -of csv=p=0 /tmp/raw.mkv 2>>"$LOG")
IFS=, read -r width height frames <<<"$facts"
check "the recording is 640x360: ${width:-?}x${height:-?}" test "${width:-}x${height:-}" = 640x360
check "it holds 60 to 80 frames: ${frames:-none}" test "${frames:-0}" -ge 60 -a "${frames:-0}" -le 80

decoded=$(ffprobe -v error -select_streams v -count_frames -show_entries stream=nb_read_frames -of csv=p=0 /tmp/raw.mkv 2>/tmp/faults)
cat /tmp/faults >>"$LOG"
check "every frame of it decodes: ${decoded:-none}" test "${decoded:-0}" = "${frames:-none}" -a ! -s /tmp/faults
