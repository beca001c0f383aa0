// A picture of the camera: in the page where the browser allows it, else by the system's own camera.

import { say, warn } from "./base.js";

const byId = (id) => document.getElementById(id);
let stream = null;

/** Open the camera; `use` is called with each picture, as a list of one file. */
export async function openCamera(use) {
  if (!navigator.mediaDevices || !navigator.mediaDevices.getUserMedia) {
    byId("capture").click();
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    warn("The browser does not allow the camera; allow it in the address bar, or choose a picture.");
    return;
  }
  byId("video").srcObject = stream;
  await byId("video").play();
  byId("camera").hidden = false;
  byId("take").onclick = () => takePicture(use);
  byId("take").focus();
  say("The camera is on.");
}

/** Switch the camera off. */
export function closeCamera() {
  if (stream) for (const track of stream.getTracks()) track.stop();
  stream = null;
  byId("video").srcObject = null;
  byId("camera").hidden = true;
  byId("open-camera").focus();
}

function takePicture(use) {
  const video = byId("video");
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  const name = `camera ${new Date().toLocaleTimeString("en-GB")}.png`;
  canvas.toBlob((blob) => use([new File([blob], name, { type: "image/png" })]), "image/png");
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !byId("camera").hidden) closeCamera();
});
