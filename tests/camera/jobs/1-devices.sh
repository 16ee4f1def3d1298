# What cameras there are, and what they offer.

framewire devices >devices.txt 2>>"$LOG"
check 'framewire devices ends with status 0' test $? -eq 0
cat devices.txt >>"$LOG"

# The lines of a device: from its own to the next one's.
of() { awk -v device="$1" 'index($0, "/dev/video") { mine = 0 } index($0 " ", device " ") || index($0, device ":") { mine = 1 } mine' devices.txt; }

lists() { of "$1" | grep -qiE "$2"; }
check 'the raw camera is listed by its device and name' lists $RAW vivid
check 'its pixel format is named' lists $RAW 'yuyv'
check 'its sizes are listed' lists $RAW '640x360'
check 'its rates are listed' lists $RAW '(^|[^0-9.])25([^0-9]|$)'
check 'the JPEG camera is listed by its device and name' lists $JPEG 'framewire loopback'
check 'it offers JPEG' lists $JPEG 'mjpe?g'
check 'its size is listed' lists $JPEG '1280x720'
check 'its rate is listed' lists $JPEG '(^|[^0-9.])30([^0-9]|$)'
check 'the H.264 camera offers H.264' lists $H264 'h264'
