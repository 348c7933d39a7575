// Browsers start no workers for pages that are opened from disk. The search of this site is one. Where it
// is opened from disk, a hidden frame does the work of a worker.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.inside = frame.contentWindow
      this.ready = new Promise((resolve) => {
        Object.assign(this.inside, {
          postMessage: (data) => this.dispatchEvent(new MessageEvent("message", { data })),
          importScripts: async (...scripts) => {
            for (const script of scripts) await this.load(script)
          },
        })
        this.load(address).then(resolve)
      })
    }

    load(address) {
      const page = this.inside.document
      const script = page.createElement("script")
      script.src = address
      page.body.append(script)
      return new Promise((resolve, reject) => Object.assign(script, { onload: resolve, onerror: reject }))
    }

    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })))
    }
  }
}
