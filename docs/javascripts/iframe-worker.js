// Browsers start no web worker from a page that was opened from the disk, and search runs in one.
// There, run the worker's script in a hidden frame and pass messages between the two windows.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(script) {
      super()
      this.waiting = [] // messages that came before the script was there
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.inside = frame.contentWindow
      this.inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      const element = frame.contentDocument.createElement("script")
      element.src = script
      element.addEventListener("load", () => {
        this.waiting.forEach(data => this.deliver(data))
        this.waiting = null
      })
      frame.contentDocument.body.append(element)
    }

    postMessage(data) {
      this.waiting ? this.waiting.push(data) : this.deliver(data)
    }

    deliver(data) {
      this.inside.dispatchEvent(new MessageEvent("message", { data }))
    }
  }
}
