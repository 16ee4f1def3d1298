# A camera that goes away under a viewer is announced within 2 s, and comes back under its name to the same viewer.

# words: how many lines of the hub name the stream or a device.
words() {
  local line count=0
  while read -r line; do [[ $line =~ door|/dev/video ]] && count=$((count + 1)); done <"$LOG.started"
  said=$count
}
said_more() { words && [ $said -gt $before ]; }

away_and_back() { # HOW GOES RETURNS
  soon 20 "$1: its stream is live before" state live
  words
  before=$said
  $2
  since=$(milliseconds)
  soon 2 "$1: the hub says so" said_more
  soon 2 "$1: its stream is stalled" state stalled
  unset since
  $3
  soon 15 "$1 and returns: live again under the same name" state live
  soon 5 "$1 and returns: the same viewer sees it again" grown /tmp/watched "$(stat -c %s /tmp/watched)"
}

watch() { # SOURCE
  : >/tmp/watched
  serve "$1"
  curl -sN "http://$HUB/streams/door/mjpeg" >/tmp/watched &
  within 20 grown /tmp/watched 100000
}

unwatch() {
  kill -TERM $hub
  wait $hub
  check "$1: the hub still ends with status 0" test $? -eq 0
}

# The device leaves with its node, as a USB camera does; it may come back under another number.
unbind() { echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind; }
bind() { echo vivid.0 >/sys/bus/platform/drivers/vivid/bind; }

# The node stays and every call answers "no such device" for as long as somebody holds it open.
disconnect() {
  exec 9<"$RAW"
  v4l2-ctl -d "$RAW" -c disconnect=1 >>"$LOG" 2>&1
}
reconnect() { exec 9<&-; }

watch "$RAW#size=640x360#fps=25"
away_and_back 'the raw camera is unplugged' unbind bind
away_and_back 'the raw camera answers no more' disconnect reconnect
unwatch 'the raw camera'

# Cameras freeze: their nodes stay, frames stop.
freeze_jpeg() { feed_stop "$JPEG"; }
freeze_h264() { feed_stop "$H264"; }

watch "$JPEG"
away_and_back 'the JPEG camera stops' freeze_jpeg feed_jpeg
unwatch 'the JPEG camera'

# H.264 goes on at a keyframe; the viewer sees JPEGs that the hub makes of it.
watch "$H264#codec=copy"
away_and_back 'the H.264 camera stops' freeze_h264 feed_h264
unwatch 'the H.264 camera'
