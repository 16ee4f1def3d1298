"""pickle, the viewer, which says nothing: pickle_viewer.py HOST PORT FOLDER"""

import pickle
import socket
import struct
import sys

from headless import imshow

host, port, folder = sys.argv[1:4]

client = socket.socket()
client.connect((host, int(port)))
data = b""
payload_size = struct.calcsize("Q")
while True:
    while len(data) < payload_size:
        packet = client.recv(4 * 1024)
        if not packet:
            sys.exit("the camera is gone")
        data += packet
    packed_msg_size = data[:payload_size]
    data = data[payload_size:]
    msg_size = struct.unpack("Q", packed_msg_size)[0]
    while len(data) < msg_size:
        packet = client.recv(4 * 1024)
        if not packet:
            sys.exit("the camera is gone")
        data += packet
    frame_data = data[:msg_size]
    data = data[msg_size:]
    imshow(folder, "RECEIVING VIDEO", pickle.loads(frame_data))
