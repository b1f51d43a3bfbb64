// The page without plots of its own: pictures from the server, fetched anew each second. Plain JavaScript,
// served as it is where the page could not be bundled.

function refresh(picture) {
  const next = new Image();
  const url = new URL(picture.currentSrc || picture.src);
  url.searchParams.set("t", String(Date.now()));
  const again = () => setTimeout(refresh, 1000, picture);
  next.onload = () => {
    // Loaded before it is shown, so that nothing flickers.
    picture.parentElement.querySelectorAll("source").forEach((source) => source.remove());
    picture.src = next.src;
    again();
  };
  next.onerror = again;
  next.src = url.href;
}

document.querySelectorAll("main img").forEach(refresh);
