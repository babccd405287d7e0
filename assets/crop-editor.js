// Lets a person choose the square of a photo that is trained on: by dragging it, by its corner, by a slider, or by the
// arrow keys. A button with data-crop opens it; what is chosen becomes a gradio event with the action "crop". Numbers
// are pixels of the photo, whatever size it is shown at.
// The photo, and the sides that its square may have.
const withLimits = (photo) => {
  const most = Math.min(photo.width, photo.height);
  return { ...photo, most, least: Math.min(photo.least, most) };
};

const within = (value, least, most) => Math.min(Math.max(value, least), most);

const fitted = (square, photo) => {
  const side = within(Math.round(square.side), photo.least, photo.most);
  return {
    side,
    left: within(Math.round(square.left), 0, photo.width - side),
    top: within(Math.round(square.top), 0, photo.height - side),
  };
};

const CROP_EDITOR = `
  <h2>The square that is trained on</h2>
  <p class="cs-small">Drag it, pull its corner, or use the arrow keys. One subject that fills most of it is learnt best.</p>
  <div class="cs-crop-photo"><img alt=""><div class="cs-crop-square" tabindex="0" role="group"><span></span></div></div>
  <label class="cs-small">Size <input type="range" step="1"> <output></output></label>
  <div class="cs-actions">
    <button type="button" data-crop-do="use">Use this square</button>
    <button type="button" data-crop-do="find">Find it again</button>
    <button type="button" data-crop-do="cancel">Cancel</button>
  </div>`;

const openCropEditor = (photo) => {
  const editor = document.createElement('dialog');
  editor.className = 'cs-crop-editor';
  editor.innerHTML = CROP_EDITOR;
  const [stage, picture, frame, corner, size, said] = ['.cs-crop-photo', 'img', '.cs-crop-square', 'span', 'input', 'output']
    .map((found) => editor.querySelector(found));
  editor.setAttribute('aria-label', `The square of ${photo.source}`);
  frame.setAttribute('aria-label', 'The square. Arrow keys move it.');
  picture.src = photo.url;
  stage.style.aspectRatio = `${photo.width} / ${photo.height}`;
  stage.style.width = `min(100%, ${(60 * photo.width) / photo.height}vh)`;
  [size.min, size.max] = [photo.least, photo.most];

  let square;
  const show = (wanted) => {
    square = fitted(wanted, photo);
    frame.style.left = `${(100 * square.left) / photo.width}%`;
    frame.style.top = `${(100 * square.top) / photo.height}%`;
    frame.style.width = `${(100 * square.side) / photo.width}%`;
    size.value = square.side;
    said.textContent = `${square.side} px wide`;
  };
  const around = (x, y, side) => ({ side, left: x - side / 2, top: y - side / 2 });
  show(photo);

  let held = null; // where the pointer took hold, and of which square
  const photoPx = () => photo.width / stage.getBoundingClientRect().width;
  stage.addEventListener('pointerdown', (event) => {
    event.preventDefault();
    frame.focus();
    if (!frame.contains(event.target)) {
      const shown = stage.getBoundingClientRect();
      show(around((event.clientX - shown.left) * photoPx(), (event.clientY - shown.top) * photoPx(), square.side));
    }
    held = { x: event.clientX, y: event.clientY, square, sizes: event.target === corner };
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener('pointermove', (event) => {
    if (!held) return;
    const [right, down] = [(event.clientX - held.x) * photoPx(), (event.clientY - held.y) * photoPx()];
    const { left, top, side } = held.square;
    const room = Math.min(photo.width - left, photo.height - top);
    show(held.sizes ? { left, top, side: Math.min(side + Math.max(right, down), room) } : { left: left + right, top: top + down, side });
  });
  for (const end of ['pointerup', 'pointercancel']) stage.addEventListener(end, () => { held = null; });

  frame.addEventListener('keydown', (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way) return;
    event.preventDefault();
    const far = event.shiftKey ? 1 : Math.max(1, photo.most / 50);
    show({ left: square.left + way[0] * far, top: square.top + way[1] * far, side: square.side });
  });
  size.addEventListener('input', () => show(around(square.left + square.side / 2, square.top + square.side / 2, Number(size.value))));

  editor.addEventListener('click', (event) => {
    const button = event.target.closest('[data-crop-do]');
    if (!button) return;
    const chosen = { use: square, find: {} }[button.dataset.cropDo];
    if (chosen) trigger('click', { action: 'crop', file: photo.file, ...chosen });
    editor.close();
  });
  editor.addEventListener('close', () => editor.remove());
  element.closest('.gradio-container').append(editor);
  editor.showModal();
  frame.focus();
};

element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-crop]');
  if (button && element.contains(button)) openCropEditor(withLimits(JSON.parse(button.dataset.crop)));
});
