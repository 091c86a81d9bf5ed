// The unit's chart: mean as a line, lowest to highest as a band, limits, alerts and maintenance shaded.
"use strict";

(() => {
  const place = document.getElementById("chart");
  if (!place) return;
  const given = JSON.parse(document.getElementById("chart-data").textContent);
  const shown = (c) => (c === null ? null : given.display_unit === "F" ? (c * 9) / 5 + 32 : c);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const column = (index) => given.points.map((point) => shown(point[index]));
  const data = [given.points.map((point) => point[0] / 1000), column(1), column(2), column(3)];

  function shade(u, spans, colour) {
    u.ctx.fillStyle = colour;
    for (const [begin, end] of spans) {
      const left = Math.max(u.bbox.left, u.valToPos(begin / 1000, "x", true));
      const right = Math.min(u.bbox.left + u.bbox.width, u.valToPos(end / 1000, "x", true));
      if (right > left) u.ctx.fillRect(left, u.bbox.top, right - left, u.bbox.height);
    }
  }

  function limit(u, celsius) {
    if (celsius === null) return;
    const y = u.valToPos(shown(celsius), "y", true);
    u.ctx.save();
    u.ctx.strokeStyle = css("--bad");
    u.ctx.setLineDash([6, 4]);
    u.ctx.beginPath();
    u.ctx.moveTo(u.bbox.left, y);
    u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
    u.ctx.stroke();
    u.ctx.restore();
  }

  // 24 hours, and the day where it changes.
  function clock(u, ticks, index, space, step) {
    let day = "";
    return ticks.map((one) => {
      const at = new Date(one * 1000);
      const date = at.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
      const time = at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
      const isNew = date !== day;
      day = date;
      return step >= 86400 ? date : isNew ? `${time}\n${date}` : time;
    });
  }
  const limits = [given.low_c, given.high_c].filter((one) => one !== null).map(shown);
  function draw() {
    place.replaceChildren();
    const axis = { stroke: css("--quiet"), grid: { stroke: css("--line") }, ticks: { stroke: css("--line") } };
    new uPlot({
      width: place.clientWidth,
      height: Math.max(220, Math.min(420, place.clientWidth * 0.5)),
      scales: {
        x: { range: [given.begins_ms / 1000, given.ends_ms / 1000] },
        y: { range: (u, least, most) => [Math.min(least, ...limits) - 1, Math.max(most, ...limits) + 1] },
      },
      series: [
        {},
        { label: "Lowest", stroke: css("--band"), points: { show: false } },
        { label: "Mean", stroke: css("--accent"), width: 2, points: { show: given.points.length < 40 } },
        { label: "Highest", stroke: css("--band"), points: { show: false } },
      ],
      bands: [{ series: [3, 1], fill: css("--band-fill") }],
      axes: [{ ...axis, values: clock }, { ...axis, values: (u, ticks) => ticks.map((one) => `${one} °${given.display_unit}`), size: 64 }],
      hooks: {
        drawClear: [(u) => { shade(u, given.maintenance, css("--maintenance")); shade(u, given.alerts, css("--alert-fill")); }],
        draw: [(u) => { limit(u, given.low_c); limit(u, given.high_c); }],
      },
    }, data, place);
  }
  draw();
  let width = place.clientWidth;
  addEventListener("resize", () => { if (place.clientWidth !== width) { width = place.clientWidth; draw(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
