"""Typed access to a parameter node: node references and texts, bound to the panel both ways."""

import slicer
import vtk

PROPERTY = "SlicerParameterName"


def parameterNodeWrapper(declared):
    """Class decorator: each annotation, a MRML node class or `str`, becomes an attribute kept in the node."""
    for name, kind in declared.__annotations__.items():
        setattr(declared, name, _text(name, getattr(declared, name, "")) if kind is str else _reference(name))
    declared.__init__ = _init
    declared.connectGui = _connectGui
    declared.disconnectGui = _disconnectGui
    # VTKObservationMixin observes the wrapper as if it were its node.
    for method in ("AddObserver", "RemoveObserver", "HasObserver", "GetID", "GetClassName"):
        setattr(declared, method, _forwarded(method))
    return declared


def _init(self, node):
    self.parameterNode = node
    self._guis = {}


def _forwarded(method):
    return lambda self, *arguments: getattr(self.parameterNode, method)(*arguments)


def _text(name, default):
    def get(self):
        return self.parameterNode.GetParameter(name) or default

    return property(get, lambda self, value: self.parameterNode.SetParameter(name, value))


def _reference(name):
    def put(self, node):
        self.parameterNode.SetNodeReferenceID(name, node.GetID() if node is not None else None)

    return property(lambda self: self.parameterNode.GetNodeReference(name), put)


def _connectGui(self, ui):
    """Bind every widget that names a parameter; returns a tag for `disconnectGui`."""
    bound = [(w, w.property(PROPERTY)) for w in vars(ui).values() if hasattr(w, "property") and w.property(PROPERTY)]
    slots = []
    for widget, name in bound:
        if isinstance(widget, slicer.qMRMLNodeComboBox):
            slot = _writer(self, name)
            widget.connect("currentNodeChanged(vtkMRMLNode*)", slot)
            slots.append((widget, "currentNodeChanged(vtkMRMLNode*)", slot))
        else:
            slot = _writer(self, name)
            widget.connect("textChanged(QString)", slot)
            slots.append((widget, "textChanged(QString)", slot))
    observer = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: _show(self, bound))
    _show(self, bound)
    tag = len(self._guis) + 1
    self._guis[tag] = (slots, observer)
    return tag


def _disconnectGui(self, tag):
    slots, observer = self._guis.pop(tag)
    for widget, signal, slot in slots:
        widget.disconnect(signal, slot)
    self.parameterNode.RemoveObserver(observer)


def _writer(self, name):
    return lambda value: setattr(self, name, value)


def _show(self, bound):
    for widget, name in bound:
        value = getattr(self, name)
        if isinstance(widget, slicer.qMRMLNodeComboBox):
            if widget.currentNode() is not value:
                widget.setCurrentNode(value)
        elif widget.text != value:
            widget.text = value
