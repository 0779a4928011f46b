"use strict";
(async () => {
  const data = JSON.parse(await unpack("#payload"));
  const viewer = data.sheets ? new Viewer($("#viewer"), data) : null;
  let quantity = setUpSegments("quantity", (value) => { quantity = value; show(); });
  const show = () => {
    const channel = $("#object").value;
    $$("[data-quantity]").forEach((e) => { e.hidden = e.dataset.quantity !== quantity; });
    $$("#numbers tbody").forEach((b) => b.classList.toggle("chosen", b.dataset.channel === channel));
    if (!viewer) return;
    viewer.show(channel, quantity);
    const { object } = data.channels.find((c) => c.name === channel);
    scaleBar($("#scale"), data.ranges[object][quantity], data.units[quantity]);
  };
  $("#object").addEventListener("change", show);
  setUpTheme(() => {});
  setUpTables();
  show();
})();
