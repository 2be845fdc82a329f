/* Figures and tables of the book. Data lie in the page as JSON; one Plotly and one DataTables serve all pages and are
   loaded, by script tags that also work from file://, only where there is something to draw. */
(function () {
  "use strict";
  const here = document.currentScript.src;
  const pending = {};

  function load(path) {
    if (!pending[path]) {
      pending[path] = new Promise(function (resolve, reject) {
        const amd = window.define; // hidden while loading, so that the libraries set their globals
        window.define = undefined;
        const tag = document.createElement("script");
        tag.src = new URL(path, here).href;
        tag.onload = function () { window.define = amd; resolve(); };
        tag.onerror = function () { window.define = amd; reject(new Error("cannot load " + path)); };
        document.head.appendChild(tag);
      });
    }
    return pending[path];
  }

  function data(element) {
    return JSON.parse(element.querySelector('script[type="application/json"]').textContent);
  }

  function copy(value) { return JSON.parse(JSON.stringify(value)); }

  /* ---- figures ---- */

  const NARROW = 520; // pixels of a figure below which panels are stacked and the legend goes under the plot
  const EDGES = 110; // margins above and below the panels, as the house's template leaves them
  const LINE = 20;

  function template() {
    const style = getComputedStyle(document.documentElement);
    const dark = document.documentElement.dataset.theme === "dark";
    const text = style.getPropertyValue("--pst-color-text-base").trim() || (dark ? "#ddd" : "#222");
    const back = style.getPropertyValue("--pst-color-background").trim() || (dark ? "#14181e" : "#fff");
    const grid = dark ? "rgba(255,255,255,.16)" : "rgba(0,0,0,.12)";
    const t = copy(window.biosaeTemplate || { layout: {} });
    const axis = Object.assign({}, t.layout.xaxis, { gridcolor: grid, zerolinecolor: grid, linecolor: grid });
    Object.assign(t.layout, { xaxis: axis, yaxis: axis });
    t.layout.font = Object.assign({}, t.layout.font, { color: text });
    t.layout.hoverlabel = Object.assign({}, t.layout.hoverlabel, { bgcolor: back, bordercolor: text, font: { color: text } });
    t.layout.legend = Object.assign({}, t.layout.legend, { bgcolor: "rgba(0,0,0,0)" });
    t.layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: text, activecolor: style.getPropertyValue("--pst-color-primary").trim() || text };
    return t;
  }

  /* Upright bars with long names, lying down: on a phone there is room for names above rows, none under bars. */
  function turned(content) {
    const long = content.data.some(function (t) {
      return t.type === "bar" && t.orientation !== "h" && Array.isArray(t.x) && t.x.some(function (v) { return typeof v === "string" && v.length > 14; });
    });
    if (!long || (content.layout.shapes || []).length) return content;
    const c = copy(content);
    const other = function (text) { return text && text.replace(/%\{([xy])/g, function (_, k) { return "%{" + (k === "x" ? "y" : "x"); }); };
    c.data.forEach(function (t) {
      const x = t.x, error = t.error_x;
      t.x = t.y; t.y = x;
      t.error_x = t.error_y; t.error_y = error;
      t.orientation = "h";
      if (t.marker && t.marker.symbol === "line-ew-open") t.marker.symbol = "line-ns-open";
      if (t.textposition === "top center") t.textposition = "middle right";
      t.hovertemplate = other(t.hovertemplate);
    });
    Object.keys(c.layout).filter(function (k) { return /^xaxis/.test(k); }).forEach(function (k) {
      const y = "y" + k.slice(1), across = c.layout[k], along = c.layout[y] || {};
      ["domain", "anchor", "matches"].forEach(function (stays) {
        const kept = across[stays];
        across[stays] = along[stays]; along[stays] = kept;
      });
      c.layout[k] = Object.assign(along, { showticklabels: true });
      c.layout[y] = Object.assign(across, { autorange: "reversed" });
    });
    return c;
  }

  function axisOf(layout, id) {
    const name = id[0] + "axis" + id.slice(1);
    return layout[name] || (layout[name] = {});
  }

  /* Panels, each as its two axes with their names, row by row. */
  function panels(layout, traces) {
    const found = new Map();
    traces.forEach(function (t) { found.set((t.xaxis || "x") + (t.yaxis || "y"), [t.xaxis || "x", t.yaxis || "y"]); });
    return Array.from(found.values()).map(function (ids) {
      return { ids: ids, x: axisOf(layout, ids[0]), y: axisOf(layout, ids[1]) };
    }).sort(function (a, b) {
      const above = (b.y.domain || [0, 1])[1] - (a.y.domain || [0, 1])[1];
      return above || (a.x.domain || [0, 1])[0] - (b.x.domain || [0, 1])[0];
    });
  }

  /* Panels that stand beside each other, under each other, each at least `least` pixels tall. */
  function stack(layout, all, least) {
    if (!all.some(function (p) { return p.x.domain && p.x.domain[0] > 0; })) {
      layout.height = Math.max(layout.height, least + EDGES);
      return;
    }
    const span = all[0].y.domain ? all[0].y.domain[1] - all[0].y.domain[0] : 1;
    const tall = Math.max(210, least, (layout.height - EDGES) * span), gap = 58;
    const total = all.length * tall + (all.length - 1) * gap;
    const title = {};
    all.forEach(function (p) {
      ["x", "y"].forEach(function (k) { if (!title[k] && p[k].title && p[k].title.text) title[k] = p[k].title; });
    });
    all.forEach(function (p, i) {
      const top = 1 - i * (tall + gap) / total;
      p.x.domain = [0, 1];
      p.y.domain = [Math.max(0, top - tall / total), top];
      p.x.showticklabels = p.y.showticklabels = true;
      p.y.title = title.y;
      p.x.title = i === all.length - 1 ? title.x : undefined;
    });
    layout.height = total + EDGES;
  }

  function wrapped(text, width) {
    const lines = [""];
    text.replace(/<br>/g, " ").split(" ").forEach(function (word) {
      const last = lines.length - 1;
      if (lines[last] && (lines[last] + " " + word).length > width) lines.push(word);
      else lines[last] += (lines[last] ? " " : "") + word;
    });
    return lines;
  }

  /* Long names on the vertical axis take the width that the data need: each is written above its row instead.
     Returns what that takes, or null where names are short. */
  function longNames(traces, width) {
    const rows = new Set();
    traces.forEach(function (t) { if (Array.isArray(t.y)) t.y.forEach(function (v) { if (typeof v === "string") rows.add(v); }); });
    const names = Array.from(rows);
    if (!names.some(function (n) { return n.length > 16; })) return null;
    const text = names.map(function (n) { return wrapped(n, Math.floor((width - 20) / 6.5)); });
    const first = traces.filter(function (t) { return (t.yaxis || "y") === (traces[0].yaxis || "y") && t.visible !== false; });
    const bars = new Set(first.filter(function (t) { return t.type === "bar"; }).map(function (t) { return t.offsetgroup || t.name; })).size;
    const head = 14 * Math.max.apply(null, text.map(function (l) { return l.length; })) + 4;
    const body = bars ? 18 * bars : 16, row = head + body + 6;
    return { names: names, text: text, bars: bars, gap: (head + 6) / row, least: names.length * row };
  }

  function nameAboveRows(layout, all, about) {
    if (about.bars) layout.bargap = about.gap;
    layout.annotations = layout.annotations || [];
    all.forEach(function (p) {
      const domain = p.y.domain || [0, 1];
      const row = (layout.height - EDGES) * (domain[1] - domain[0]) / about.names.length;
      p.y.showticklabels = false;
      about.names.forEach(function (n, i) {
        layout.annotations.push({
          text: about.text[i].join("<br>"), xref: p.ids[0] + " domain", x: 0, xanchor: "left", align: "left", yref: p.ids[1], y: n,
          yanchor: "bottom", yshift: about.bars ? row * (1 - about.gap) / 2 : 6, showarrow: false, font: { size: 11 },
        });
      });
    });
  }

  /* Titles of axes that are longer than their axis, in lines. */
  function breakTitles(layout, traces, width) {
    let names = 0; // what words on the vertical axis take
    traces.forEach(function (t) {
      if (Array.isArray(t.y)) t.y.forEach(function (v) { if (typeof v === "string") v.split("<br>").forEach(function (l) { names = Math.max(names, 7 * l.length); }); });
    });
    if (width < NARROW) names = 0;
    Object.keys(layout).filter(function (k) { return /^[xy]axis/.test(k); }).forEach(function (k) {
      const axis = layout[k], title = axis.title && axis.title.text;
      if (!title) return;
      const domain = axis.domain || [0, 1];
      const room = (k[0] === "x" ? width - 70 - names : layout.height - EDGES) * (domain[1] - domain[0]);
      const lines = wrapped(title, Math.max(16, Math.floor(room / 8)));
      axis.title = Object.assign({}, axis.title, { text: lines.join("<br>") });
      if (k[0] === "y" && lines.length > 1) axis.title.standoff = 10 + LINE * (lines.length - 1);
    });
  }

  function legendRows(traces, width) {
    let rows = 0, used = width;
    traces.forEach(function (t) {
      if (t.showlegend === false || t.visible === false) return;
      const needs = 52 + 7 * String(t.name || "").length;
      if (used + needs > width) { rows += 1; used = 0; }
      used += needs;
    });
    return rows;
  }

  /* A figure for a width: as stored on a desk, rearranged on a phone. Buttons are drawn in HTML. */
  function fitted(stored, width) {
    const narrow = width < NARROW;
    const content = narrow ? turned(stored) : stored;
    const layout = Object.assign(copy(content.layout), { template: template(), autosize: true });
    layout.height = layout.height || 450;
    delete layout.updatemenus;
    content.data.forEach(function (t) { if (t.type === "heatmap") t.textfont = narrow ? { size: 9 } : undefined; });
    if (narrow) {
      (layout.annotations || []).forEach(function (a) { a.text = wrapped(a.text, Math.floor((width - 50) / 8)).join("<br>"); });
      const all = panels(layout, content.data);
      const about = longNames(content.data, width);
      stack(layout, all, about ? about.least : 0);
      if (about) nameAboveRows(layout, all, about);
      layout.legend = Object.assign({}, layout.legend, { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0, xanchor: "left", font: { size: 12 } });
      layout.margin = Object.assign({}, layout.margin, { l: about ? 12 : 44, r: 10 });
      layout.font = Object.assign({}, layout.font, { size: 12 });
    }
    breakTitles(layout, content.data, width);
    if (layout.showlegend !== false) layout.height += LINE * Math.max(0, legendRows(content.data, width - 60) - 1);
    return { data: content.data, layout: layout };
  }

  function buttons(figure, plot, menu) {
    const group = document.createElement("div");
    group.className = "biosae-choice";
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Show");
    menu.buttons.forEach(function (b, i) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = b.label;
      button.setAttribute("aria-pressed", String(i === (menu.active || 0)));
      button.addEventListener("click", function () {
        group.querySelectorAll("button").forEach(function (other) { other.setAttribute("aria-pressed", String(other === button)); });
        window.Plotly[b.method].apply(null, [plot].concat(copy(b.args)));
      });
      group.appendChild(button);
    });
    figure.insertBefore(group, plot);
  }

  function draw(figure) {
    if (figure.dataset.drawn) return;
    figure.dataset.drawn = "yes";
    const plot = figure.querySelector(".biosae-plotly");
    const content = data(figure);
    const fit = function () {
      const view = fitted(content, plot.clientWidth);
      plot.style.minHeight = "0";
      plot.style.height = view.layout.height + "px";
      if (plot.data) view.data.forEach(function (t, i) { t.visible = plot.data[i].visible; }); // as the buttons left it
      return view;
    };
    load(figure.dataset.bundle).then(function () {
      (content.layout.updatemenus || []).forEach(function (menu) { buttons(figure, plot, menu); });
      const config = { displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
      const view = fit();
      return window.Plotly.newPlot(plot, view.data, view.layout, config);
    }).then(function () {
      plot.classList.remove("pending");
      plot.querySelectorAll("svg.main-svg").forEach(function (svg) { svg.setAttribute("aria-hidden", "true"); }); // the label says it
      let width = 0; // also style sheets that come late, folds and the side bar change it
      new ResizeObserver(function () {
        const now = plot.clientWidth;
        if (!now || now === width) return;
        const again = width && now < NARROW !== width < NARROW, first = !width && now === plot._fullLayout.width;
        width = now;
        if (again) { const view = fit(); window.Plotly.react(plot, view.data, view.layout); }
        else if (!first) window.Plotly.Plots.resize(plot);
      }).observe(plot);
      plot.on("plotly_click", function (event) {
        const p = event.points[0];
        document.dispatchEvent(new CustomEvent("biosae:click", {
          detail: { figure: figure.dataset.name, x: p.x, y: p.y, customdata: p.customdata, label: p.hovertext },
        }));
      });
    }).catch(function (error) {
      plot.textContent = "This figure could not be drawn: " + error.message;
      console.error(error);
    });
  }

  function figures() {
    const all = document.querySelectorAll(".biosae-figure");
    if (!all.length) return;
    if ("IntersectionObserver" in window) {
      const seen = new IntersectionObserver(function (entries) {
        entries.forEach(function (e) { if (e.isIntersecting) { seen.unobserve(e.target); draw(e.target); } });
      }, { rootMargin: "600px" });
      all.forEach(function (f) { f.querySelector(".biosae-plotly").classList.add("pending"); seen.observe(f); });
      const idle = window.requestIdleCallback || function (f) { setTimeout(f, 200); };
      window.addEventListener("load", function () { idle(function () { draw(all[0]); }); });
    } else {
      all.forEach(draw);
    }
    new MutationObserver(function () {
      document.querySelectorAll(".biosae-plotly.js-plotly-plot").forEach(function (plot) {
        window.Plotly.relayout(plot, { template: template() });
      });
    }).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    window.addEventListener("beforeprint", function () { all.forEach(draw); });
  }

  /* ---- tables ---- */

  function shown(column) {
    return function (value) {
      if (value === null || value === undefined || value === "") return "";
      if (column.long) return "<div>" + window.DataTable.util.escapeHtml(String(value)) + "</div>"; // two lines of it
      if (typeof value !== "number" || !column.numeric) return window.DataTable.util.escapeHtml(String(value));
      if (column.significant) return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(1).replace("e-", "e\u2212") : String(Number(value.toPrecision(3)));
      const text = Math.abs(value).toLocaleString("en", { minimumFractionDigits: column.decimals, maximumFractionDigits: column.decimals, useGrouping: Math.abs(value) >= 10000 });
      return (value < 0 && /[1-9]/.test(text) ? "\u2212" : "") + text;
    };
  }

  function tables() {
    const all = document.querySelectorAll(".biosae-table");
    if (!all.length) return;
    const sheet = document.createElement("link");
    sheet.rel = "stylesheet";
    sheet.href = new URL("vendor/datatables/dataTables.min.css", here).href;
    document.head.insertBefore(sheet, document.head.firstChild);
    load("vendor/datatables/jquery.min.js")
      .then(function () { return load("vendor/datatables/dataTables.min.js"); })
      .then(function () {
        all.forEach(function (element) {
          const content = data(element);
          const table = new window.DataTable(element.querySelector("table"), {
            data: content.data,
            columns: content.columns.map(function (c) {
              return {
                title: window.DataTable.util.escapeHtml(c.title).replace(/_/g, "_<wbr>"), type: c.numeric ? "num" : "string", defaultContent: "",
                render: { display: shown(c) }, className: c.long ? "long" : "",
              };
            }),
            order: [],
            pageLength: 10,
            deferRender: true,
            autoWidth: false,
            paging: content.data.length > 10,
            searching: content.data.length > 5,
            info: content.data.length > 10,
            language: { search: "Search", lengthMenu: "_MENU_ rows a page", info: "_START_ to _END_ of _TOTAL_" },
          });
          const name = function () {
            element.querySelectorAll("nav").forEach(function (n) { n.setAttribute("aria-label", "Pages of the table " + content.name); });
          };
          table.on("draw", name);
          name();
          const scroll = element.querySelector(".dt-layout-table > .dt-layout-cell");
          if (scroll) { scroll.tabIndex = 0; scroll.setAttribute("role", "region"); scroll.setAttribute("aria-label", content.caption); }
          element.querySelector("tbody").addEventListener("click", function (event) { // long texts open with their row
            const row = event.target.closest("tr");
            if (event.target.closest("td.long") && !String(window.getSelection())) row.classList.toggle("open");
          });
          element.dataset.drawn = "yes";
        });
      })
      .catch(function (error) { console.error(error); });
  }

  /* The theme's arrows of the navigation have no name, and its search another than the one that is seen. */
  function names() {
    document.querySelectorAll(".bd-links summary").forEach(function (summary) {
      const link = summary.closest("li").querySelector("a");
      if (link && !summary.textContent.trim()) summary.setAttribute("aria-label", "Pages below " + link.textContent.trim());
    });
    document.querySelectorAll(".search-button-field").forEach(function (button) { button.removeAttribute("aria-label"); });
  }

  function start() { names(); figures(); tables(); }
  window.biosae = { load: load, template: template };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start); else start();
})();
