"""imageZMQ in both its patterns, and VidGear's NetGear."""

import imagezmq
from common import QUALITY, main, micros, report


def address(args) -> str:
    return f"tcp://{args.host}:{args.port}"


# imageZMQ with its JPEG calls. REQ/REP: the viewer listens and answers every frame. PUB/SUB: the publisher listens.


def request_publish(args, camera):
    report(connecting=micros())
    sender = imagezmq.ImageSender(connect_to=address(args))
    for jpeg in camera.jpegs():
        sender.send_jpg("camera", jpeg)


def request_view(args, screen):
    hub = imagezmq.ImageHub(open_port=address(args))
    while True:
        _, data = hub.recv_jpg()
        screen.jpeg(data)
        hub.send_reply(b"OK")


def subscribe_publish(args, camera):
    sender = imagezmq.ImageSender(connect_to=address(args), REQ_REP=False)
    for jpeg in camera.jpegs():
        sender.send_jpg("camera", jpeg)


def subscribe_view(args, screen):
    report(connecting=micros())
    hub = imagezmq.ImageHub(open_port=address(args), REQ_REP=False)
    while True:
        screen.jpeg(hub.recv_jpg()[1])


# NetGear: the viewer listens. Pattern 0 (PAIR) is its default and its fastest; its JPEG encoder is simplejpeg.


def netgear(args, **more):
    from vidgear.gears import NetGear  # slow to import: only where it is used

    report(connecting=micros())
    return NetGear(
        address=args.host, port=str(args.port), protocol="tcp", pattern=0, logging=False,
        jpeg_compression=True, jpeg_compression_quality=QUALITY,
        jpeg_compression_fastdct=True, jpeg_compression_fastupsample=True, **more,
    )


def netgear_publish(args, camera):
    sender = netgear(args)
    for frame in camera.frames():
        sender.send(frame)


def netgear_view(args, screen):
    receiver = netgear(args, receive_mode=True)
    while True:
        image = receiver.recv()
        if image is None:
            raise ConnectionResetError
        screen.picture(image)


main({
    "imagezmq-req": (request_publish, request_view),
    "imagezmq-pub": (subscribe_publish, subscribe_view),
    "netgear": (netgear_publish, netgear_view),
})
