"""MQTT over WebSocket: `mqtt_over_websocket.py subscribe PORT HOST TOPIC` says "subscribed", then every message;
`mqtt_over_websocket.py publish PORT HOST TOPIC TEXT` ends when the broker has it. Both connect to PORT of this
computer and ask for HOST there.
"""

import sys

import paho.mqtt.client as mqtt


def client(host):
    it = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, transport="websockets")
    it.ws_set_options(path="/mqtt", headers={"Host": host})
    return it


def subscribe(port, host, topic):
    it = client(host)
    it.on_connect = lambda *_: it.subscribe(topic, qos=1)
    it.on_subscribe = lambda *_: print("subscribed")
    it.on_message = lambda _client, _data, message: print("message", len(message.payload), message.payload.decode()[:80])
    it.connect("127.0.0.1", int(port))
    it.loop_forever()


def publish(port, host, topic, text):
    it = client(host)
    it.connect("127.0.0.1", int(port))
    it.loop_start()
    it.publish(topic, text, qos=1).wait_for_publish(30)
    it.disconnect()


if __name__ == "__main__":
    {"subscribe": subscribe, "publish": publish}[sys.argv[1]](*sys.argv[2:])
