const check = document.getElementById("check");

// A device that does not trust the authority, and has not been told to look away, can't fetch anything from there.
async function look() {
	let good = true;
	try {
		await fetch(check.dataset.origin + "/healthz", { mode: "no-cors", credentials: "omit", cache: "no-store" });
	} catch {
		good = false;
	}
	const text = good ? "Done: this browser opens the address without a warning." :
		"This device does not trust this Croft yet: follow the steps below. When you come back to this page, it looks again.";
	if (check.textContent !== text) {
		check.textContent = text;
		check.classList.toggle("good", good);
	}
}

look();
document.addEventListener("visibilitychange", () => {
	if (document.visibilityState === "visible") {
		look();
	}
});

// An iPad says that it is a Mac, and is the only one with a touch screen.
if (navigator.maxTouchPoints > 1 && document.getElementById("macos").open) {
	document.getElementById("macos").open = false;
	document.getElementById("ios").open = true;
}
