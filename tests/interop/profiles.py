#!/usr/bin/env python3
"""Each SRTP profile as another WebRTC stack negotiates it: aiortc, told to offer one alone, calls the demo's tone.

    profiles.py path/to/bridgehead

Browsers offer all profiles at once, so that only one of them is ever agreed on. Fails unless 440 Hz is heard, within
2 %, by each.
"""

import array
import asyncio
import json
import re
import signal
import subprocess
import sys

import aiortc.rtcdtlstransport as dtls
import websockets
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

PROFILES = list(dtls.SRTP_PROFILES)
WANTED = ["SRTP_AES128_CM_SHA1_80", "SRTP_AEAD_AES_128_GCM", "SRTP_AEAD_AES_256_GCM"]
FRAMES = 100
TONE = 440


async def listen(track):
    """The frequency and the peak of what is heard, the beginning left out."""
    crossings = samples = peak = rate = before = 0
    for n in range(FRAMES):
        frame = await track.recv()
        if n < FRAMES // 2:
            continue
        channels, rate = len(frame.layout.channels), frame.sample_rate
        wave = array.array("h", bytes(frame.planes[0])[: frame.samples * channels * 2])[::channels]
        for sample in wave:
            crossings += before < 0 <= sample
            before = sample
        samples += len(wave)
        peak = max(peak, max(abs(sample) for sample in wave))
    return crossings * rate / samples, peak


async def call(base):
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    heard = asyncio.get_running_loop().create_future()
    pc.on("track", lambda track: heard.set_result(track))
    pc.addTrack(AudioStreamTrack())
    await pc.setLocalDescription(await pc.createOffer())
    async with websockets.connect(f"ws://{base}/v1/ws", subprotocols=["bridgehead.v1"]) as ws:
        say = lambda **message: ws.send(json.dumps(message))
        await say(type="connect", id=1, version=1, user="alice", password="alice")
        await say(type="dial", id=2, call="tone", to="tone", sdp=pc.localDescription.sdp)
        async for text in ws:
            message = json.loads(text)
            if message["type"] == "media":
                await pc.setRemoteDescription(RTCSessionDescription(message["sdp"], "answer"))
            if message["type"] in ("error", "ended"):
                sys.exit(f"refused: {message}")
            if message["type"] == "answered":
                break
        result = await listen(await heard)
        await say(type="hangup", id=3, call="tone")
        await pc.close()
        return result


def main(gateway):
    process = subprocess.Popen([gateway, "demo"], stdout=subprocess.PIPE, text=True)
    try:
        addresses = (re.search(r"listening http (\S+)", line) for line in process.stdout)
        base = next(found[1] for found in addresses if found)
        for name in WANTED:
            dtls.SRTP_PROFILES[:] = [p for p in PROFILES if p.openssl_profile == name.encode()]
            assert dtls.SRTP_PROFILES, f"aiortc does not know {name}"
            frequency, peak = asyncio.run(asyncio.wait_for(call(base), 30))
            print(f"{name}: {frequency:.0f} Hz, peak {peak}")
            assert abs(frequency - TONE) <= 0.02 * TONE and peak > 1000, name
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


main(sys.argv[1])
